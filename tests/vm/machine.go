// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/tests/vm/job"
)

// machine is one guest and the files it boots from.
type machine struct {
	cfg     *Config
	root    string // of this repository
	kernel  string // directory of the kernel
	release string
	work    string // for what QEMU needs; removed afterwards
}

func newMachine(cfg *Config) (*machine, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(root); err != nil {
		return nil, err
	}
	m := &machine{cfg: cfg, root: root, kernel: filepath.Join(root, ".cache", "kernels", cfg.Kernel)}
	release, err := os.ReadFile(filepath.Join(m.kernel, "release"))
	if err != nil {
		return nil, fmt.Errorf("the kernel is not there: %w; run: tests/setup/kernels.sh %s", err, cfg.Kernel)
	}
	m.release = strings.TrimSpace(string(release))
	if m.work, err = os.MkdirTemp("", "paddock-vm-"); err != nil {
		return nil, err
	}
	if cfg.OutputDir == "" {
		if cfg.OutputDir, err = os.MkdirTemp("", "paddock-vm-output-"); err != nil {
			m.remove()
			return nil, err
		}
	}
	return m, nil
}

func (m *machine) remove() { _ = os.RemoveAll(m.work) }

// repository finds the root of this module from the directory of the package under test.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the repository: no go.mod in the working directory or above it")
		}
		dir = parent
	}
}

// build writes what the guest boots from and what it is to do.
func (m *machine) build(ctx context.Context) error {
	if err := m.initramfs(ctx); err != nil {
		return fmt.Errorf("building the initramfs: %w", err)
	}
	j, err := json.MarshalIndent(job.Job{
		Command: m.cfg.Command,
		Dir:     m.cfg.Dir,
		Env: append([]string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "LANG=C.UTF-8",
			EnvKernel + "=" + m.cfg.Name(),
			"PADDOCK_VM_OUTPUT=" + OutputPath,
		}, m.cfg.Env...),
		Systemd: m.cfg.Systemd,
		Share:   m.cfg.Share,
		Release: m.release,
		Modules: filepath.Join(m.kernel, "lib", "modules", m.release),
	}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.cfg.OutputDir, job.File), j, 0o600)
}

// initramfs holds our init and the modules without which the host's file system cannot be mounted.
func (m *machine) initramfs(ctx context.Context) error {
	tree := filepath.Join(m.work, "initramfs")
	for _, dir := range []string{"dev", "proc", "modules", "host", "memory", "root"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(tree, "init"), "./tests/vm/guest")
	build.Dir = m.root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if err := quiet(build); err != nil {
		return err
	}

	modules := filepath.Join(m.kernel, "lib", "modules", m.release)
	files, err := moduleFiles(modules, "virtio_pci", "9pnet_virtio", "9p", "overlay", "fuse")
	if err != nil {
		return err
	}
	for i, file := range files {
		// Numbered: they are inserted in this order.
		to := filepath.Join(tree, "modules", fmt.Sprintf("%02d-%s", i, strings.TrimSuffix(filepath.Base(file), ".xz")))
		if err := unpack(ctx, filepath.Join(modules, file), to); err != nil {
			return err
		}
	}

	pack := exec.CommandContext(ctx, "sh", "-c", `find . | cpio --quiet -o -H newc >../initramfs.cpio`)
	pack.Dir = tree
	return quiet(pack)
}

// unpack copies a module; Debian compresses them from trixie on, and our init cannot.
func unpack(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	command := exec.CommandContext(ctx, "cat")
	if strings.HasSuffix(from, ".xz") {
		command = exec.CommandContext(ctx, "xz", "-dc")
	}
	command.Stdin, command.Stdout = in, out
	if err := command.Run(); err != nil {
		return fmt.Errorf("unpacking %s: %w", from, err)
	}
	return out.Close()
}

// quiet runs a command whose output only matters when it fails.
func quiet(command *exec.Cmd) error {
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, output)
	}
	return nil
}

// run boots, a second time when the first locks up, and gathers what the guest left.
func (m *machine) run(ctx context.Context) (Result, error) {
	var err error
	result := Result{ExitCode: -1, OutputDir: m.cfg.OutputDir}
	for result.Boots = 1; ; result.Boots++ {
		// A directory that is used again must not hold the answers of the last time.
		for _, name := range []string{job.Output, job.Exit} {
			if err := os.RemoveAll(filepath.Join(m.cfg.OutputDir, name)); err != nil {
				return result, err
			}
		}
		err = m.boot(ctx, &result)
		lockedUp := errors.Is(err, ErrNoBoot) || errors.Is(err, ErrLockedUp)
		if !lockedUp || result.Boots == 2 {
			break
		}
		result.LockedUp = result.Console
	}
	output, readErr := os.ReadFile(filepath.Join(m.cfg.OutputDir, job.Output))
	result.Output = string(output)
	if err == nil {
		result.ExitCode, err = m.exitCode()
	}
	if err == nil && readErr != nil {
		err = fmt.Errorf("reading what the command printed: %w", readErr)
	}
	if err != nil {
		return result, fmt.Errorf("running %q under kernel %s: %w; the console ends with:\n%s",
			m.cfg.Command, m.cfg.Name(), err, tail(result.Console, 40))
	}
	return result, nil
}

// exitCode is what the guest wrote when its command had ended.
func (m *machine) exitCode() (int, error) {
	text, err := os.ReadFile(filepath.Join(m.cfg.OutputDir, job.Exit))
	if errors.Is(err, os.ErrNotExist) {
		return -1, ErrNoExit
	}
	if err != nil {
		return -1, err
	}
	code, err := strconv.Atoi(string(text))
	if err != nil {
		return -1, fmt.Errorf("exit status from the guest: %w", err)
	}
	return code, nil
}
