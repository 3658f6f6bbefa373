// SPDX-License-Identifier: Apache-2.0

package telemetry

import "google.golang.org/protobuf/encoding/protowire"

// statusMessage reads the field message, number 2, of a google.rpc.Status: what
// an OTLP receiver explains a failure with. The generated type lives in a
// module that we do not need for anything else.
func statusMessage(b []byte) string {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ""
		}
		b = b[n:]
		if number == 2 && kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return ""
			}
			return string(v)
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return ""
		}
		b = b[n:]
	}
	return ""
}
