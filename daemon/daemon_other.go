// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package daemon

import (
	"context"
	"errors"
	"runtime"
)

// Daemon is the system service.
type Daemon struct{}

// ErrPlatform is returned where Paddock cannot enforce anything yet.
var ErrPlatform = errors.New("the daemon does not run on " + runtime.GOOS + " yet; it needs Linux")

// New makes a daemon.
func New(Config) *Daemon { return &Daemon{} }

// Run returns ErrPlatform: it would be worse to run and enforce nothing.
func (d *Daemon) Run(context.Context, func()) error { return ErrPlatform }

// HelperMain returns ErrPlatform.
func HelperMain([]string) error { return ErrPlatform }

// NotifyReady does nothing here.
func NotifyReady() {}

// NotifyStopping does nothing here.
func NotifyStopping() {}

func defaultCgroup() string { return "" }
