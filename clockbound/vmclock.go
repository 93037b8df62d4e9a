package clockbound

import (
	"fmt"
	"os"
)

// vmclockPath is the clock page of a virtual machine, in which the hypervisor reports
// disruptions of the clock: uapi/linux/vmclock-abi.h.
const vmclockPath = "/dev/vmclock0"

const (
	vmclockMagic      = 0x4B4C4356 // "VCLK"
	vmclockMarkerWord = 2          // index of the disruption marker
)

// openVMClock maps the virtual machine's clock page.
func openVMClock() (*mapping, error) {
	file, err := os.Open(vmclockPath)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := mapFile(file, readOnly)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", vmclockPath, err)
	}
	if uint32(m.memory[0].Load()) != vmclockMagic {
		return nil, fmt.Errorf("%s: not a clock page", vmclockPath)
	}
	return m, nil
}
