package reactor

import "golang.org/x/sys/unix"

func isEpoll(l *Loop) bool { _, ok := l.poller.(*epoll); return ok }

func threadID() int { return unix.Gettid() }

func interrupt(thread int) { _ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) }
