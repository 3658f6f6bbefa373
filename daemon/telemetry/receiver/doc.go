// SPDX-License-Identifier: Apache-2.0

// Package receiver takes in what agents report of themselves: OTLP logs,
// metrics and traces, over HTTP (protobuf or JSON) and gRPC, on loopback.
//
// Who sends is what the kernel says of the connection, never what a record
// says. A record enters the session of its sender or none. What is refused is
// counted, and becomes an event (telemetry.NameTelemetryRefused).
//
// gRPC is served by net/http: OTLP needs three unary methods of it, which is a
// frame of five bytes and a trailer. The gRPC library would double what a root
// daemon exposes to agents, for streams, reflection and balancing that nobody
// asks for here.
package receiver
