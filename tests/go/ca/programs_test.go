package ca_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a command did.
type outcome struct {
	code      int
	out       string
	complaint string
	notes     []string
	// Files of its home.
	files []string
}

var (
	logged     = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `)
	attributes = regexp.MustCompile(`Attributes:\s?\[\{.*\}\]`)
	password   = regexp.MustCompile(`(Password: )\w{12}\b`)
	keyFile    = regexp.MustCompile(`[0-9a-f]{64}_sk`)
	numbers    = regexp.MustCompile(`(Serial|AKI):[0-9a-f]+`)
	// Each program tells in its own words why nobody answers and what is no JSON and no time.
	unreachable = regexp.MustCompile(`^(\w+ failure of request|cannot talk to).*`)
	unreadable  = regexp.MustCompile(`^(Invalid value for --json option|Invalid '\w+' value).*`)
)

func (p program) try(t *testing.T, home string, at server, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	host := strings.TrimPrefix(at.url, "http://")
	given := make([]string, 0, len(args))
	for _, arg := range args {
		given = append(given, strings.ReplaceAll(arg, "HOST", host))
	}
	command := p.command(ctx, home, given...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	var failed *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatalf("%v: %v", args, err)
	}
	port := host[strings.LastIndex(host, ":")+1:]
	steady := func(text string) string {
		text = strings.NewReplacer(home, "HOME", host, "HOST", "-"+port, "-PORT").Replace(text)
		text = password.ReplaceAllString(text, "${1}PASSWORD")
		text = keyFile.ReplaceAllString(text, "KEY_sk")
		text = numbers.ReplaceAllString(text, "$1:N")
		return attributes.ReplaceAllStringFunc(text, func(list string) string {
			items := strings.Split(strings.TrimSuffix(list[strings.Index(list, "[{")+2:], "}]"), "} {")
			slices.Sort(items)
			return "Attributes: " + strings.Join(items, ", ")
		})
	}
	lines := strings.Split(strings.TrimSpace(steady(out.String())), "\n")
	if len(args) > 1 && args[1] == "list" {
		// Identities come in the order of their names at one, of their registration at the other.
		slices.Sort(lines)
	}
	told := outcome{code: command.ProcessState.ExitCode(), out: strings.Join(lines, "\n")}
	for _, line := range strings.Split(steady(said.String()), "\n") {
		if complaint, is := strings.CutPrefix(line, "Error: "); is && told.complaint == "" {
			complaint = unreachable.ReplaceAllString(complaint, "unreachable")
			told.complaint = unreadable.ReplaceAllString(complaint, "$1")
		} else if logged.MatchString(line) {
			told.notes = append(told.notes, logged.ReplaceAllString(line, ""))
		}
	}
	must(t, filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		// Fabric's keeps the key of an enrolment that failed.
		if err == nil && !strings.Contains(path, "Issuer") && !strings.Contains(path, "other/msp/keystore/") {
			told.files = append(told.files, steady(path)+map[bool]string{true: "/"}[entry.IsDir()])
		}
		return err
	}))
	told.files = slices.Compact(told.files)
	return told
}

// Both programs for the command line do, say and write the same, at both servers.
func TestPrograms(t *testing.T) {
	theirServer, ourServer := programs(t, "fabric-ca-server")
	theirs, ours := programs(t, "fabric-ca-client")
	options := []string{"--cfg.identities.allowremove", "--cfg.affiliations.allowremove"}
	type pair struct {
		name   string
		client program
		at     server
		home   string
	}
	var pairs []pair
	for _, served := range []struct {
		name string
		by   program
	}{{"Fabric's", theirServer}, {"our", ourServer}} {
		for _, asked := range []struct {
			name string
			by   program
		}{{"Fabric's", theirs}, {"our", ours}} {
			// A server for each, since each changes it.
			pairs = append(pairs, pair{asked.name + " client at " + served.name + " server", asked.by, start(t, served.by, options...), t.TempDir()})
		}
	}
	for _, step := range []struct {
		code int
		args []string
	}{
		{1, []string{"identity", "list"}},
		{1, []string{"enroll"}},
		{1, []string{"enroll", "-u", "http://HOST"}},
		{1, []string{"enroll", "-u", "http://admin@HOST"}},
		{1, []string{"enroll", "-u", "http://admin:wrong@HOST", "-H", "other"}},
		{0, []string{"enroll", "-u", "http://admin:adminpw@HOST", "-m", "here"}},
		{1, []string{"enroll", "-u", "http://admin:adminpw@HOST", "extra"}},
		{1, []string{"enroll", "-u", "http://admin:adminpw@HOST", "--caname", "other"}},
		{0, []string{"enroll", "-u", "http://admin:adminpw@HOST", "-M", "tls", "--enrollment.profile", "tls", "--csr.hosts", "a,b"}},
		{0, []string{"getcainfo", "-u", "http://HOST", "-M", "info"}},
		{1, []string{"getcainfo", "-u", "http://127.0.0.1:1"}},
		{1, []string{"register", "--nonsense"}},
		{1, []string{"register"}},
		{0, []string{"register", "--id.name", "u1", "--id.secret", "pw", "--id.affiliation", "org1", "--id.attrs", "a=1:ecert,b=2"}},
		{0, []string{"register", "--id.name", "u2", "--id.type", "peer"}},
		{1, []string{"register", "--id.name", "u1"}},
		{1, []string{"register", "--id.name", "u3", "--id.attrs", "a"}},
		{1, []string{"register", "--id.name", "u3", "--id.attrs", "a=1:x"}},
		{1, []string{"register", "--id.name", "u3", "--id.affiliation", "none"}},
		{0, []string{"reenroll"}},
		{0, []string{"identity", "list"}},
		{0, []string{"identity", "list", "--id", "u1"}},
		{1, []string{"identity", "list", "--id", "nobody"}},
		{1, []string{"identity", "add"}},
		{1, []string{"identity", "add", "u4", "u5"}},
		{0, []string{"identity", "add", "u4", "--secret", "pw", "--affiliation", "org1", "--attrs", "x=1,y=2"}},
		{0, []string{"identity", "modify", "u4", "--maxenrollments", "3", "--attrs", "x=,y=5"}},
		{0, []string{"identity", "modify", "u4", "--json", `{"type":"peer","secret":"other"}`}},
		{1, []string{"identity", "modify", "u4", "--json", `{"type":"peer"}`, "--type", "peer"}},
		{1, []string{"identity", "modify", "u4", "--json", `{`}},
		{0, []string{"identity", "remove", "u4"}},
		{1, []string{"identity", "remove", "u4"}},
		{0, []string{"affiliation", "list"}},
		{0, []string{"affiliation", "list", "--affiliation", "org1"}},
		{1, []string{"affiliation", "add"}},
		{0, []string{"affiliation", "add", "org8"}},
		{1, []string{"affiliation", "add", "org8"}},
		{1, []string{"affiliation", "add", "a.b.c"}},
		{0, []string{"affiliation", "add", "a.b.c", "--force"}},
		{1, []string{"affiliation", "modify", "org8"}},
		{0, []string{"affiliation", "modify", "org8", "--name", "org9"}},
		{1, []string{"affiliation", "remove", "a"}},
		{0, []string{"affiliation", "remove", "a.b.c"}},
		{0, []string{"certificate", "list", "--id", "nobody"}},
		{1, []string{"certificate", "list", "--expiration", "2018-01-01"}},
		{1, []string{"certificate", "list", "--expiration", "2018/01/01::now"}},
		{1, []string{"revoke"}},
		{0, []string{"revoke", "-e", "u1", "-r", "keycompromise"}},
		{0, []string{"revoke", "-e", "u2", "--gencrl"}},
		{1, []string{"revoke", "-s", "1", "-a", "1"}},
		{0, []string{"gencrl"}},
		{1, []string{"gencrl", "--revokedafter", "soon"}},
		{1, []string{"gencrl", "--revokedafter", "2030-01-01T00:00:00Z", "--revokedbefore", "2020-01-01T00:00:00Z"}},
		{0, []string{"gencsr", "--csr.cn", "someone", "-M", "csr"}},
		{1, []string{"nonsense"}},
	} {
		expected := pairs[0].client.try(t, pairs[0].home, pairs[0].at, step.args...)
		if expected.code != step.code {
			t.Errorf("%v: Fabric's ends with %d: %+v", step.args, expected.code, expected)
		}
		for _, other := range pairs[1:] {
			got := other.client.try(t, other.home, other.at, step.args...)
			if got.code != expected.code || got.out != expected.out || got.complaint != expected.complaint || !slices.Equal(got.files, expected.files) {
				t.Errorf("%v: %s\n%+v\n--- Fabric's with its own\n%+v", step.args, other.name, got, expected)
			}
			for _, note := range got.notes {
				if !slices.Contains(expected.notes, note) && !strings.Contains(note, "Issuer") {
					t.Errorf("%v: only %s notes %q, not %q", step.args, other.name, note, expected.notes)
				}
			}
		}
	}
	// Certificates as text: both programs over one folder.
	for _, at := range []pair{pairs[0], pairs[2]} {
		args := []string{"certificate", "list", "--id", "admin", "--store", "stored"}
		want, got := theirs.try(t, at.home, at.at, args...), ours.try(t, at.home, at.at, args...)
		if want.code != 0 || got.code != 0 || want.out != got.out {
			t.Errorf("%s\n%s\n--- Fabric's\n%s", at.name, got.out, want.out)
		}
		stored, err := os.ReadDir(filepath.Join(at.home, ".fabric-ca-client", "stored"))
		if err != nil || len(stored) < 2 {
			t.Errorf("stored: %v %v", stored, err)
		}
	}
}
