package network

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Ours is the same person with our program, called by the names of Fabric's.
func (c *Terminal) Ours(t testing.TB) *Terminal {
	t.Helper()
	own, other := consilium(t), *c
	other.programs = t.TempDir()
	for _, name := range []string{"peer", "discover"} {
		Must(t, os.Symlink(own, filepath.Join(other.programs, name)))
	}
	return &other
}

func (c *Terminal) program(name string) string {
	if c.programs != "" {
		return filepath.Join(c.programs, name)
	}
	return filepath.Join(programs, name)
}

// With is the same person with more environment variables, in the form NAME=value.
func (c *Terminal) With(variables ...string) *Terminal {
	other := *c
	other.variables = append(append([]string(nil), c.variables...), variables...)
	return &other
}

// Run runs the program, and gives its exit code with what it printed.
func (c *Terminal) Run(t testing.TB, args ...string) (int, string, string) {
	t.Helper()
	out, said, err := c.Try(t, args...)
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0, out, said
	case errors.As(err, &failed):
		return failed.ExitCode(), out, said
	}
	t.Fatalf("%v: %v", args, err)
	return 0, "", ""
}
