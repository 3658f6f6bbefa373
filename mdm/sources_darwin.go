// SPDX-License-Identifier: Apache-2.0

package mdm

// On macOS /etc is a symbolic link, and no link is followed to a locked file.
const etc = "/private/etc"

const darwin = true
