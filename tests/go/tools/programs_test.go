// Package tools_test runs Fabric's tools and ours beside each other.
package tools_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"consilium/tests/go/network"
)

// The two of whom the same is asked.
type pair struct{ theirs, ours string }

// Folders of Fabric's programs, and of ours under the same names.
func programs(t *testing.T) pair {
	t.Helper()
	both := pair{os.Getenv("FABRIC_BIN"), filepath.Join(t.TempDir(), "bin")}
	consilium := os.Getenv("CONSILIUM")
	if both.theirs == "" || consilium == "" {
		t.Fatal("set FABRIC_BIN to the folder of Fabric's programs and CONSILIUM to our program")
	}
	out, err := exec.Command(consilium, "link-programs", both.ours).CombinedOutput()
	if err != nil {
		t.Fatalf("link-programs: %v\n%s", err, out)
	}
	return both
}

type outcome struct {
	code      int
	out, said string
}

// Runs a program in a folder. Variables are further ones, in the form NAME=value.
func run(t *testing.T, folder, program string, variables []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = folder
	command.Env = append(os.Environ(), variables...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err := command.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return outcome{command.ProcessState.ExitCode(), out.String(), said.String()}
}

// The same with success.
func do(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	done := run(t, folder, program, nil, args...)
	if done.code != 0 {
		t.Fatalf("%s %q ended with %d\n%s%s", program, args, done.code, done.out, done.said)
	}
	return done.out
}

var (
	color = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// What begins a line of the log; Fabric's names a function, too.
	logged = regexp.MustCompile(`^\S+ \S+ UTC (?:[0-9a-f]{4} )?(\w+) \[[^\]]+\] (?:[\w.]+ -> )?`)
)

// The last complaint among what a program said.
func complaint(said string) string {
	last := ""
	// protobuf writes one blank or another after its name, so that nobody relies on it.
	said = strings.ReplaceAll(color.ReplaceAllString(said, ""), "\u00a0", " ")
	for _, line := range strings.Split(said, "\n") {
		if level := logged.FindStringSubmatch(line); level != nil {
			if level[1] == "INFO" {
				continue
			}
			line = line[len(level[0]):]
		}
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "Usage of") || strings.HasPrefix(line, "For more information") {
			break
		}
		if line != "" {
			last = line
		}
	}
	return last
}

// Runs the same with both. Codes, outputs and complaints have to be the same; `ownWords` ends a complaint
// where each goes on in its own words.
func (p pair) both(t *testing.T, folder, program, ownWords string, args ...string) outcome {
	t.Helper()
	theirs := run(t, folder, filepath.Join(p.theirs, program), nil, args...)
	ours := run(t, folder, filepath.Join(p.ours, program), nil, args...)
	cut := func(said string) string {
		said = complaint(said)
		if ownWords == "" {
			return said
		}
		before, _, found := strings.Cut(said, ownWords)
		if !found {
			return said
		}
		return before + ownWords
	}
	differ := difference(theirs.out, ours.out)
	if theirs.code != ours.code || differ != "" || cut(theirs.said) != cut(ours.said) {
		t.Errorf("%s %q\nFabric's: %d %q\nours:     %d %q\n%s", program, args,
			theirs.code, cut(theirs.said), ours.code, cut(ours.said), differ)
	}
	return ours
}

// Where two texts begin to differ; nothing where they do not.
func difference(theirs, ours string) string {
	if theirs == ours {
		return ""
	}
	one, other := strings.Split(theirs, "\n"), strings.Split(ours, "\n")
	line := 0
	for line < min(len(one), len(other)) && one[line] == other[line] {
		line++
	}
	part := func(lines []string) string {
		return strings.Join(lines[max(0, line-2):min(len(lines), line+6)], "\n")
	}
	return fmt.Sprintf("--- Fabric's, from line %d on\n%s\n--- ours\n%s", line, part(one), part(other))
}

// All files below a folder by their names, with their modes.
func files(t *testing.T, folder string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	network.Must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		found[name] = info.Mode()
		return err
	}))
	return found
}

func write(t *testing.T, file, content string) string {
	t.Helper()
	network.Must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	network.Must(t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	network.Must(t, err)
	return content
}

func TestEveryProgramTellsItsVersion(t *testing.T) {
	both := programs(t)
	for _, program := range []string{"configtxgen", "configtxlator", "cryptogen", "orderer", "peer"} {
		word := "version"
		if program == "configtxgen" {
			word = "-version"
		}
		for _, folder := range []string{both.theirs, both.ours} {
			told := do(t, "", filepath.Join(folder, program), word)
			if !strings.HasPrefix(told, program+":\n Version: ") || !strings.Contains(told, "\n Commit SHA: ") || !strings.Contains(told, "\n OS/Arch: ") {
				t.Errorf("%s %s: %q", folder, program, told)
			}
		}
	}
	again := exec.Command(os.Getenv("CONSILIUM"), "link-programs", both.ours)
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("links are not replaced: %v\n%s", err, out)
	}
	network.Must(t, os.Remove(filepath.Join(both.ours, "peer")))
	write(t, filepath.Join(both.ours, "peer"), "mine")
	if run(t, "", os.Getenv("CONSILIUM"), nil, "link-programs", both.ours).code == 0 || string(read(t, filepath.Join(both.ours, "peer"))) != "mine" {
		t.Error("a file of somebody's was replaced")
	}
}
