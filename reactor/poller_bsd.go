//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

var pollers = []namedPoller{{"poll", openPoll}, {"select", openSelect}}
