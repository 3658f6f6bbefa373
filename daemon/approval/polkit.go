// SPDX-License-Identifier: Apache-2.0

package approval

import _ "embed" // the action

// Action is the polkit action that an answer to a high-risk question needs.
const Action = "dev.paddock.approve"

// PolkitPolicy declares Action, for /usr/share/polkit-1/actions/dev.paddock.policy.
//
//go:embed dev.paddock.policy
var PolkitPolicy string
