//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

func threadID() int { return -1 }
