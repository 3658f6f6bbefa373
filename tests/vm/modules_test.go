// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestModuleFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("modules.dep", "k/virtio.ko:\nk/virtio-pci.ko.xz: k/ring.ko k/virtio.ko\nk/ring.ko: k/virtio.ko\nk/9p.ko: k/ring.ko k/virtio.ko\n")
	write("modules.builtin", "kernel/fs/overlayfs/overlay.ko\n")

	got, err := moduleFiles(dir, "virtio_pci", "9p", "overlay")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"k/virtio.ko", "k/ring.ko", "k/virtio-pci.ko.xz", "k/9p.ko"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, err := moduleFiles(dir, "floppy"); err == nil {
		t.Errorf("a module that is not there: %q, want an error", got)
	}
}
