// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/metrics"
)

// startExporters begins to send events where the requirements in force say.
func (d *Daemon) startExporters(ctx context.Context) {
	d.mu.Lock()
	requirements := d.policy.applied
	d.mu.Unlock()
	d.exporters = telemetry.NewExporters(d.store, telemetry.ExporterOptions{
		Resource: d.resource(), Log: d.config.Log, Metrics: metrics.New(d.store, time.Now).Collect,
	})
	d.exporters.Configure(sinks(requirements))
	d.exporters.Start(ctx)
}

// sinks says where events go.
func sinks(r *policy.Requirements) []telemetry.SinkConfig {
	var out []telemetry.SinkConfig
	for _, s := range append([]policy.TelemetrySink{r.Telemetry}, r.Sinks...) {
		out = append(out, telemetry.SinkConfig{
			Name: s.Name, Format: telemetry.Format(s.Type), Endpoint: s.Endpoint, File: s.File, Headers: s.Headers,
			HeadersFile: s.HeadersFile, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile,
		})
	}
	return out
}

// redaction says what of events is not kept.
func redaction(r *policy.Requirements) telemetry.Redaction {
	out := telemetry.Redaction{KeepSecrets: r.Secrets == "keep"}
	for _, c := range []telemetry.Content{
		telemetry.Prompts, telemetry.Outputs, telemetry.Arguments, telemetry.Commands, telemetry.Environment,
	} {
		if !r.Records(string(c)) {
			out.Omit = append(out.Omit, c)
		}
	}
	return out
}
