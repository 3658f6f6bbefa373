// SPDX-License-Identifier: Apache-2.0

package mdm

const etc = "/etc"

const darwin = false
