// SPDX-License-Identifier: Apache-2.0

// Package detections tests the example detections: that they name what events
// have, and that the Sigma rules find what they are for and nothing else.
package detections
