// SPDX-License-Identifier: Apache-2.0

// Package telemetry is where every event of Paddock lands, stays, and leaves
// for the organisation's own collector.
//
// An Event is recorded in a Store: one SQLite file, one goroutine that writes,
// any number of readers. An Exporter reads from there, by a cursor that the
// Store keeps, and sends over OTLP/HTTP. Nothing is lost in silence: whoever
// records faster than the disk is made to wait, a size bound removes first what
// was exported, and whatever is lost all the same is counted and becomes an
// event itself (NameTelemetryGap).
package telemetry
