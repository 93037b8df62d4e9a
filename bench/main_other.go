//go:build !linux

// Command bench compares nowd with other servers. It needs Linux: it reads /proc, and uses
// system calls that other systems do not have.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux")
	os.Exit(1)
}
