package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// store stands for a database. A program holds its lock only for one update.
type store struct{ lease, log string }

// update reads the lease, and writes it back if change returns true.
func (s *store) update(change func(*lease) bool) error {
	return s.locked(func() error {
		l := new(lease)
		switch b, err := os.ReadFile(s.lease); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			if err := json.Unmarshal(b, l); err != nil {
				return err
			}
		}
		if !change(l) {
			return nil
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.lease+".new", b, 0o644); err != nil {
			return err
		}
		return os.Rename(s.lease+".new", s.lease)
	})
}

// commit adds to the log, unless check returns an error.
func (s *store) commit(entry string, check func() error) error {
	return s.locked(func() error {
		if err := check(); err != nil {
			return err
		}
		f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(entry)
		return errors.Join(err, f.Close())
	})
}

// locked calls f with the lock held, which no other process has meanwhile.
func (s *store) locked(f func() error) error {
	lock, err := os.OpenFile(s.lease+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return f()
}
