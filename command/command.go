// Package command parses the command line of a program that has several commands, and
// prints their help.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The exit statuses of all commands.
const (
	OK     = 0
	Failed = 1
	Usage  = 2 // a mistake on the command line or in a setting
)

// Command is one command of a Program. Its texts are for the help.
type Command struct {
	Name      string
	Arguments string // what follows the flags, for the usage line; empty if nothing may
	Summary   string // what the command does, in one line
	Text      string // what it does, in full; one newline at the end
	Status    string // the exit statuses, a line each
	Examples  string // command lines, one a line

	// New defines the flags, and returns the function that runs the command once they
	// are parsed.
	New func(flags *flag.FlagSet) Func
}

// Func runs a command and returns the exit status.
type Func func(*Call) int

// Call is one run of a command.
type Call struct {
	Args           []string // what follows the flags
	Environ        []string // in the form of os.Environ
	Stdout, Stderr io.Writer

	name string // of the program and the command
}

// Mistake reports a mistake on the command line. It returns the exit status Usage. The
// error may contain arguments of any length and with any bytes.
func (c *Call) Mistake(err error) int {
	fmt.Fprintf(c.Stderr, "%s: %s\n\"%s -h\" prints the help.\n", c.name, Printable(shortened(err.Error())), c.name)
	return Usage
}

// Program is a program of several commands. Besides Commands it has "help".
type Program struct {
	Name     string
	About    string // what the program does, in one line
	Default  string // the command that runs if the command line names none
	Commands []*Command
	Text     string // after the list of commands in the help
}

// aliases are the commands that a flag before any command stands for, without its
// hyphens.
var aliases = map[string]string{"h": "help", "help": "help", "version": "version"}

// Run runs the command that args name. It returns the exit status. If the output cannot
// be written, that is not OK.
func (p *Program) Run(args, environ []string, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	status := p.run(args, environ, out, stderr)
	if out.err != nil {
		fmt.Fprintf(stderr, "%s: cannot write the output: %v\n", p.Name, out.err)
		status = max(status, Failed)
	}
	return status
}

func (p *Program) run(args, environ []string, stdout, stderr io.Writer) int {
	name := p.Default
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if strings.HasPrefix(name, "-") {
		if alias, ok := aliases[strings.TrimLeft(name, "-")]; ok {
			name = alias
		}
	}
	call := &Call{Environ: environ, Stdout: stdout, Stderr: stderr, name: p.Name}
	c, err := p.find(name)
	if err != nil {
		return call.Mistake(err)
	}
	call.name += " " + c.Name
	flags, run := c.define()
	err = flags.Parse(args)
	call.Args = flags.Args()
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.writeHelp(stdout, p.Name)
		return OK
	case err != nil:
		return call.Mistake(explained(err, flags))
	case c.Arguments == "" && len(call.Args) > 0:
		return call.Mistake(fmt.Errorf("%q: %s takes no arguments", call.Args[0], c.Name))
	}
	if i := slices.IndexFunc(call.Args, func(arg string) bool { return strings.HasPrefix(arg, "-") }); i >= 0 {
		return call.Mistake(fmt.Errorf("%q: flags come before %s", call.Args[i], c.Arguments))
	}
	return run(call)
}

// define returns the command's flags, and the function that runs it once they are
// parsed.
func (c *Command) define() (*flag.FlagSet, Func) {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // Run reports mistakes itself
	return flags, c.New(flags)
}

// find returns the command with a name.
func (p *Program) find(name string) (*Command, error) {
	var names []string
	for _, c := range p.all() {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("unknown command %q; want one of %s", name, strings.Join(names, ", "))
}

// explained returns an error of flag.FlagSet.Parse. For an unknown flag it names those
// that there are.
func explained(err error, flags *flag.FlagSet) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: ")
	if !unknown {
		return err
	}
	var names []string
	flags.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	if len(names) == 0 {
		return fmt.Errorf("unknown flag %s; want no flags", name)
	}
	return fmt.Errorf("unknown flag %s; want one of %s", name, strings.Join(names, ", "))
}
