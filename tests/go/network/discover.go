package network

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Discover runs Fabric's `discover`, or ours, before the terminal's peer: what it printed, and what it
// said where it was not content.
func (c *Terminal) Discover(t testing.TB, args ...string) (string, string) {
	t.Helper()
	return c.discover(t, append(append(c.discoverFlags(t), args...), "--server", c.Address)...)
}

// SaveDiscover has it keep the terminal's flags in a file. It says nothing where it is content.
func (c *Terminal) SaveDiscover(t testing.TB, file string) string {
	t.Helper()
	out, said := c.discover(t, append(c.discoverFlags(t), "--configFile", file, "saveConfig")...)
	return out + said
}

// DiscoverBy is Discover with the flags of such a file.
func (c *Terminal) DiscoverBy(t testing.TB, file string, args ...string) (string, string) {
	t.Helper()
	return c.discover(t, append(append([]string{"--configFile", file}, args...), "--server", c.Address)...)
}

func (c *Terminal) discoverFlags(t testing.TB) []string {
	t.Helper()
	user := c.Net.User(c.Org, "Admin")
	keys, err := filepath.Glob(filepath.Join(user, "msp", "keystore", "*"))
	Must(t, err)
	certificates, err := filepath.Glob(filepath.Join(user, "msp", "signcerts", "*"))
	Must(t, err)
	if len(keys) != 1 || len(certificates) != 1 {
		t.Fatalf("one key and one certificate in %s, not %v and %v", user, keys, certificates)
	}
	return []string{
		"--peerTLSCA", c.Net.TLSRoot(c.Org),
		"--tlsCert", filepath.Join(user, "tls", "client.crt"), "--tlsKey", filepath.Join(user, "tls", "client.key"),
		"--userKey", keys[0], "--userCert", certificates[0], "--MSP", c.Org.MSPID,
	}
}

func (c *Terminal) discover(t testing.TB, args ...string) (string, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, c.program("discover"), args...)
	command.Env = append(os.Environ(), "FABRIC_LOGGING_SPEC=fatal")
	var out, errors bytes.Buffer
	command.Stdout, command.Stderr = &out, &errors
	if err := command.Run(); err != nil {
		return "", out.String() + errors.String()
	}
	return out.String(), errors.String()
}
