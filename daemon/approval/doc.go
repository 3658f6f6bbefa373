// SPDX-License-Identifier: Apache-2.0

// Package approval keeps the actions of agents that wait for a person: what is
// asked, who may answer, what was answered before, and what a reviewer program may
// answer in the person's place. It holds nothing itself: whoever holds an action
// asks here, and is told the answer.
package approval
