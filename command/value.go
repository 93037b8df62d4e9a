package command

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a flag.Value. It refuses a text with an error that says what is allowed.
type value struct {
	set    func(text string) error
	format func() string
}

var _ flag.Value = (*value)(nil)

func (v *value) Set(text string) error { return v.set(text) }

// String returns the value. Package flag also calls it for the zero value.
func (v *value) String() string {
	if v.format == nil {
		return ""
	}
	return v.format()
}

// DurationVar defines a flag for a time of 0 or more, and sets *p to its default.
func DurationVar(flags *flag.FlagSet, p *time.Duration, name string, def time.Duration, usage string) {
	durationVar(flags, p, name, def, 0, "want a time of 0 or more, such as 500ms or 2m", usage)
}

// PositiveDurationVar defines a flag for a time above 0, and sets *p to its default. A
// default of 0 means that there is none: the help shows no default, and *p stays 0
// unless the flag is given.
func PositiveDurationVar(flags *flag.FlagSet, p *time.Duration, name string, def time.Duration, usage string) {
	durationVar(flags, p, name, def, 1, "want a time above 0, such as 500ms or 2m", usage)
}

func durationVar(flags *flag.FlagSet, p *time.Duration, name string, def, least time.Duration, want, usage string) {
	*p = def
	flags.Var(&value{
		set: func(text string) error {
			d, err := time.ParseDuration(text)
			if err != nil || d < least {
				return errors.New(want)
			}
			*p = d
			return nil
		},
		format: func() string {
			if *p < least {
				return ""
			}
			return p.String()
		},
	}, name, usage)
}

// CountVar defines a flag for a whole number of 0 or more, and sets *p to its default.
func CountVar(flags *flag.FlagSet, p *int, name string, def int, usage string) {
	*p = def
	flags.Var(&value{
		set: func(text string) error {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return errors.New("want a whole number of 0 or more")
			}
			*p = n
			return nil
		},
		format: func() string { return strconv.Itoa(*p) },
	}, name, usage)
}

// ChoiceVar defines a flag for one of several words, and sets *p to its default. The
// help lists the words after usage.
func ChoiceVar(flags *flag.FlagSet, p *string, name, def, usage string, words ...string) {
	*p = def
	list := strings.Join(words, ", ")
	flags.Var(&value{
		set: func(text string) error {
			if !slices.Contains(words, text) {
				return fmt.Errorf("want one of %s", list)
			}
			*p = text
			return nil
		},
		format: func() string { return *p },
	}, name, usage+": "+list)
}
