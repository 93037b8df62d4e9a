package cluster

import (
	"github.com/landlock-lsm/go-landlock/landlock"
)

// confine gives up, for this process and for good, what asking members takes no
// more, as far as the kernel has Landlock (landlock(7)): to gain privileges, to
// execute, to write or open files but what the resolver reads, to listen on TCP
// ports, and to connect to others than the targets'.
func (o *options) confine() error {
	rules := []landlock.Rule{
		landlock.RODirs("/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/proc/self").IgnoreIfMissing(),
		landlock.ConnectTCP(53), // a name server's, for answers that are too long for a datagram
	}
	if o.listen != "" { // for the metrics of the process
		rules = append(rules, landlock.ROFiles("/proc/stat").IgnoreIfMissing())
	}
	for _, t := range o.fetcher.targets {
		rules = append(rules, landlock.ConnectTCP(t.port))
	}
	// Version 5 is the last one before signals are scoped: Go sends them to its
	// own threads, which some kernels then refuse.
	return landlock.V5.BestEffort().Restrict(rules...)
}
