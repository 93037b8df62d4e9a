//go:build !linux

// Command bench compares nowd with other servers. It counts with what Linux
// tells of a process, and sends with its system calls.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: this program runs on Linux only")
	os.Exit(1)
}
