// Package answer makes answers from requests: bytes in, bytes out, no input or
// output of its own. Each dialect has a file.
//
// What is stated of one value holds for all types here: it belongs to one
// goroutine, since it keeps what the last answer can lend to the next.
package answer
