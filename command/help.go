package command

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// all returns the commands, with "help".
func (p *Program) all() []*Command {
	return append(p.Commands[:len(p.Commands):len(p.Commands)], &Command{
		Name:      "help",
		Arguments: "[COMMAND]",
		Summary:   "print the list of commands, or the help of one",
		Text:      "Prints the list of commands. With COMMAND, prints the help of that command.\n",
		Status:    "0  the help was printed\n1  the output could not be written\n2  a mistake on the command line\n",
		Examples:  "nowd help\nnowd help query\n",
		New:       func(*flag.FlagSet) Func { return p.help },
	})
}

// help is the command "help".
func (p *Program) help(call *Call) int {
	switch len(call.Args) {
	case 0:
		p.writeHelp(call.Stdout)
		return OK
	case 1:
		c, err := p.find(call.Args[0])
		if err != nil {
			return call.Mistake(err)
		}
		c.writeHelp(call.Stdout, p.Name)
		return OK
	}
	return call.Mistake(fmt.Errorf("%q: want one COMMAND at most", call.Args))
}

// writeHelp writes the help of the program.
func (p *Program) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s [COMMAND] [flags] [arguments]\n\nCommands:\n", p.About, p.Name)
	longest := 0
	for _, c := range p.all() {
		longest = max(longest, len(c.Name))
	}
	for _, c := range p.all() {
		summary := c.Summary
		if c.Name == p.Default {
			summary += " (the default)"
		}
		fmt.Fprintf(w, "  %-*s  %s\n", longest, c.Name, summary)
	}
	fmt.Fprintf(w, "\n%s", p.Text)
}

// writeHelp writes the help of a command.
func (c *Command) writeHelp(w io.Writer, program string) {
	flags, _ := c.define()
	hasFlags := false
	flags.VisitAll(func(*flag.Flag) { hasFlags = true })
	usage := program + " " + c.Name
	if hasFlags {
		usage += " [flags]"
	}
	if c.Arguments != "" {
		usage += " " + c.Arguments
	}
	fmt.Fprintf(w, "Usage:\n  %s\n\n%s", usage, c.Text)
	if hasFlags {
		fmt.Fprint(w, "\nFlags:\n")
		flags.SetOutput(w)
		flags.PrintDefaults()
	}
	fmt.Fprintf(w, "\nExit status:\n%s\nExamples:\n%s", indented(c.Status), indented(c.Examples))
}

// indented indents each line by two spaces.
func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
