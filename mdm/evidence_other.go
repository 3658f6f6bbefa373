// SPDX-License-Identifier: Apache-2.0

//go:build !darwin

package mdm

// installedProfiles knows nothing: only macOS has profiles.
func installedProfiles() Evidence { return Evidence{} }
