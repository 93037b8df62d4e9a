package health

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of CPU times in /proc: 1/100 s on Linux, whatever the timer's rate
// (USER_HZ in proc(5)).
const tick = 10 * time.Millisecond

// observe reads the activity of a thread of this process: proc_pid_stat(5).
func observe(thread int) (activity, error) {
	b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/stat")
	if err != nil {
		return activity{}, err
	}
	// The second field, the name in parentheses, may contain any character.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const state, userTime, systemTime = 0, 11, 12
	if len(fields) <= systemTime {
		return activity{}, fmt.Errorf("unexpected stat of a thread: %q", b)
	}
	user, err := strconv.ParseUint(string(fields[userTime]), 10, 63)
	if err != nil {
		return activity{}, err
	}
	system, err := strconv.ParseUint(string(fields[systemTime]), 10, 63)
	if err != nil {
		return activity{}, err
	}
	return activity{cpu: time.Duration(user+system) * tick, blocked: fields[state][0] != 'R'}, nil
}
