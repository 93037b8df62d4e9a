package cluster

import (
	"github.com/landlock-lsm/go-landlock/landlock"
)

// confine drops, for this process and for good, the rights that fetching documents does not
// need. It uses Landlock (landlock(7)), if the kernel has it: no new privileges; no
// executing and no writing of files; reading only of files that the resolver and the
// metrics need; no listening at further TCP ports; connecting over TCP only to the ports of
// the targets and to port 53.
func (o *options) confine() error {
	rules := []landlock.Rule{
		landlock.RODirs("/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/proc/self").IgnoreIfMissing(),
		landlock.ConnectTCP(53), // DNS, for answers that are too long for a datagram
	}
	if o.listen != "" { // the metrics of the process read it
		rules = append(rules, landlock.ROFiles("/proc/stat").IgnoreIfMissing())
	}
	for _, t := range o.fetcher.targets {
		rules = append(rules, landlock.ConnectTCP(t.port))
	}
	// From version 6 on Landlock restricts signals. Some kernels then refuse the signals
	// that Go sends to its own threads.
	return landlock.V5.BestEffort().Restrict(rules...)
}
