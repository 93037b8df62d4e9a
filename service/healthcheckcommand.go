package service

import (
	"flag"
	"fmt"

	"nowd/command"
	"nowd/config"
	"nowd/health"
)

// HealthcheckCommand is the command "nowd healthcheck". It serves images without a
// shell, and probes of a health endpoint that only the pod itself reaches.
var HealthcheckCommand = command.Command{
	Name:    "healthcheck",
	Summary: "ask a running nowd whether it is alive, or ready",
	Text: `Asks the nowd that runs with the same NOWD_HEALTH_LISTEN for /live, or with -ready
for /ready. Prints nothing if the answer is 200, and the reason otherwise.
`,
	Status: `0  nowd is alive; with -ready, nowd is ready
1  nowd is not alive or not ready, or does not answer
2  a mistake on the command line or in a setting
`,
	Examples: `nowd healthcheck
NOWD_HEALTH_LISTEN=127.0.0.1:8086 nowd healthcheck -ready
`,
	New: func(flags *flag.FlagSet) command.Func {
		ready := flags.Bool("ready", false, "ask /ready instead of /live")
		return func(c *command.Call) int {
			if *ready {
				return healthcheck(c, health.Ready)
			}
			return healthcheck(c, health.Live)
		}
	},
}

// healthcheck asks the nowd that runs with the settings of the environment for a path.
func healthcheck(call *command.Call, path string) int {
	c, err := config.Load(call.Environ)
	if err != nil {
		fmt.Fprintln(call.Stderr, err)
		return command.Usage
	}
	if c.Health.Off() {
		fmt.Fprintln(call.Stderr, "nowd healthcheck: NOWD_HEALTH_LISTEN is off: there is no endpoint to ask")
		return command.Failed
	}
	if err := health.Ask(path, c.Health.Reachable(), c.LivenessTimeout); err != nil {
		fmt.Fprintln(call.Stderr, "nowd healthcheck:", err)
		return command.Failed
	}
	return command.OK
}
