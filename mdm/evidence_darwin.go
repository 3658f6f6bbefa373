// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"context"
	"os/exec"
	"time"
)

// evidenceLimit bounds each question to the system.
const evidenceLimit = 10 * time.Second

// installedProfiles asks the machine about its profiles. An answer that fails is
// empty, and proves nothing.
func installedProfiles() Evidence {
	return Evidence{
		Profiles:       ask("/usr/bin/profiles", "-C", "-o", "stdout-xml"),
		SystemProfiler: ask("/usr/sbin/system_profiler", "-json", "SPConfigurationProfileDataType"),
		Enrollment:     ask("/usr/bin/profiles", "status", "-type", "enrollment"),
	}
}

func ask(program string, args ...string) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), evidenceLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return nil
	}
	return out
}
