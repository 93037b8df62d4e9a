package reactor

import "golang.org/x/sys/unix"

// threadID returns the id of the calling thread: gettid(2).
func threadID() int { return unix.Gettid() }
