// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// moduleFiles returns the files of the named kernel modules and of all that they depend on, in the order in which they
// can be inserted, relative to dir. Names come with underscores. What is built into the kernel needs no file. The format
// of modules.dep and modules.builtin is that of depmod(8).
func moduleFiles(dir string, names ...string) ([]string, error) {
	needs := map[string][]string{} // file -> files it needs
	files := map[string]string{}   // module -> file
	err := eachLine(filepath.Join(dir, "modules.dep"), func(line string) {
		file, rest, _ := strings.Cut(line, ":")
		needs[file] = strings.Fields(rest)
		files[moduleName(file)] = file
	})
	if err != nil {
		return nil, err
	}
	builtin := map[string]bool{}
	if err := eachLine(filepath.Join(dir, "modules.builtin"), func(line string) { builtin[moduleName(line)] = true }); err != nil {
		return nil, err
	}

	var ordered []string
	var add func(file string)
	add = func(file string) {
		if slices.Contains(ordered, file) {
			return
		}
		for _, need := range needs[file] {
			add(need)
		}
		ordered = append(ordered, file)
	}
	for _, name := range names {
		file, ok := files[name]
		if !ok && !builtin[name] {
			return nil, fmt.Errorf("no module %s in %s", name, dir)
		}
		if ok {
			add(file)
		}
	}
	return ordered, nil
}

// moduleName is the name of the module in a file: kernel/drivers/virtio/virtio-pci.ko.xz is virtio_pci.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func eachLine(path string, do func(line string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		do(lines.Text())
	}
	return lines.Err()
}
