package reactor

import "golang.org/x/sys/unix"

func isEpoll(*Loop) bool { return false }

func threadID() int { return 0 }

// interrupt reaches whichever thread the kernel picks.
func interrupt(int) { _ = unix.Kill(unix.Getpid(), unix.SIGURG) }
