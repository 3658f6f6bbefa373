// SPDX-License-Identifier: Apache-2.0

package desktop

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Xdotool runs xdotool, which moves the mouse and types as a person does.
func (d *Desktop) Xdotool(args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "xdotool", args...)
	cmd.Env = d.Env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("xdotool %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Click presses a mouse button, 1 the left and 3 the right one, at a point of the
// screen.
func (d *Desktop) Click(at image.Point, button int) {
	d.t.Helper()
	d.Xdotool("mousemove", fmt.Sprint(at.X), fmt.Sprint(at.Y), "click", fmt.Sprint(button))
}

// Window waits for a window and returns where it is.
func (d *Desktop) Window() image.Rectangle {
	d.t.Helper()
	ids := strings.Fields(d.Xdotool("search", "--sync", "--onlyvisible", "--name", "."))
	return d.geometry(ids[len(ids)-1])
}

// Larger waits until a larger window is the only one.
func (d *Desktop) Larger(than image.Rectangle) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ids := strings.Fields(d.Xdotool("search", "--sync", "--onlyvisible", "--name", "."))
		if len(ids) == 1 && d.geometry(ids[0]).Dy() > than.Dy() {
			return
		}
	}
	d.t.Fatal("no larger window")
}

func (d *Desktop) geometry(id string) image.Rectangle {
	d.t.Helper()
	geometry := d.Xdotool("getwindowgeometry", "--shell", id)
	var x, y, w, h int
	for line := range strings.Lines(geometry) {
		for name, into := range map[string]*int{"X": &x, "Y": &y, "WIDTH": &w, "HEIGHT": &h} {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
				*into, _ = strconv.Atoi(value)
			}
		}
	}
	return image.Rect(x, y, x+w, y+h)
}

// Buttons waits until the lowest line of text in the only window has this many pieces,
// and returns the middle of each, from the left: a row of buttons.
func (d *Desktop) Buttons(count int) []image.Point {
	d.t.Helper()
	var found, before []image.Point
	same := 0 // times in a row: a window is not painted at once
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(40 * time.Millisecond) {
		before, found = found, lowestRow(d.Screen(), d.Window())
		if same++; !slices.Equal(before, found) {
			same = 0
		}
		if len(found) == count && same >= 3 {
			return found
		}
	}
	d.Screenshot("failed")
	d.t.Fatalf("the lowest line of the window at %v has %d pieces, not %d", d.Window(), len(found), count)
	return nil
}

// lowestRow finds dark text on a light ground.
func lowestRow(img *image.RGBA, in image.Rectangle) []image.Point {
	in = in.Intersect(img.Bounds())
	dark := func(x, y int) bool {
		c := img.RGBAAt(x, y)
		return int(c.R)+int(c.G)+int(c.B) < 400
	}
	row := func(y int) bool {
		for x := in.Min.X + 12; x < in.Max.X-12; x++ {
			if dark(x, y) {
				return true
			}
		}
		return false
	}
	bottom := in.Max.Y - 12 // the corners are round, and black behind
	for bottom > in.Min.Y && !row(bottom-1) {
		bottom--
	}
	top := bottom
	for top > in.Min.Y+2 && (row(top-1) || row(top-2) || row(top-3)) { // a thin stroke may be too light
		top--
	}
	const gap = 14 // wider than a space
	var out []image.Point
	begin, last := -1, -1
	end := func() {
		if begin >= 0 {
			out = append(out, image.Pt((begin+last)/2, (top+bottom)/2))
		}
	}
	for x := in.Min.X + 12; x < in.Max.X-12; x++ {
		for y := top; y < bottom; y++ {
			if !dark(x, y) {
				continue
			}
			if begin < 0 || x-last > gap {
				end()
				begin = x
			}
			last = x
			break
		}
	}
	end()
	return out
}

// Screen reads what is on the screen. Xvfb keeps it in a file in the form of X's
// window dumps (XWDFile.h): a header of big-endian words, then the pixels.
func (d *Desktop) Screen() *image.RGBA {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(d.dir, "Xvfb_screen0"))
	if err != nil {
		d.t.Fatal(err)
	}
	field := func(i int) int {
		if len(data) < 4*i+4 {
			d.t.Fatal("the window dump is cut off")
		}
		return int(binary.BigEndian.Uint32(data[4*i:]))
	}
	const entry = 12 // of the colour map
	header, width, height, perPixel, perLine := field(0), field(4), field(5), field(11), field(12)
	pixels := header + field(19)*entry
	if perPixel != 32 || len(data) < pixels+height*perLine {
		d.t.Fatalf("a window dump of %d bits per pixel and %d bytes", perPixel, len(data))
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := data[pixels+y*perLine+4*x:]
			img.SetRGBA(x, y, color.RGBA{p[2], p[1], p[0], 255})
		}
	}
	return img
}

// Blank waits until nothing is on the screen.
func (d *Desktop) Blank() { d.pixels("not blank", func(white bool) bool { return !white }) }

// Drawn waits until something is.
func (d *Desktop) Drawn() { d.pixels("blank", func(white bool) bool { return white }) }

func (d *Desktop) pixels(what string, done func(drawn bool) bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		img, drawn := d.Screen(), false
		for i := 0; i < len(img.Pix) && !drawn; i += 4 {
			drawn = img.Pix[i] > 100 // red: enough for a light window, and dunst's is red
		}
		if done(drawn) {
			return
		}
	}
	d.Screenshot("failed")
	d.t.Fatalf("the screen stays %s", what)
}

// Screenshot keeps what is on the screen as NAME.png where PADDOCK_SCREENSHOTS says.
func (d *Desktop) Screenshot(name string) {
	d.t.Helper()
	dir := os.Getenv("PADDOCK_SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, name+".png"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, d.Screen()); err != nil {
		d.t.Fatal(err)
	}
	d.t.Logf("screenshot %s", f.Name())
}
