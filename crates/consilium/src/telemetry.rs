//! Logs and metrics of a node.

mod descriptions;
mod filter;
mod spec;

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

pub use descriptions::describe_metrics;
pub use filter::Filter;
pub use spec::LogSpec;

/// The log levels of a running node.
#[derive(Clone)]
pub struct LogControl(reload::Handle<Filter, Registry>);

impl LogControl {
    /// A filter for a subscriber, and its control.
    pub fn new(spec: LogSpec) -> (reload::Layer<Filter, Registry>, Self) {
        let (layer, handle) = reload::Layer::new(Filter::new(spec));
        (layer, Self(handle))
    }

    /// The levels in force.
    pub fn spec(&self) -> LogSpec {
        // An error means that the subscriber is gone, and nothing is logged any more.
        self.0
            .with_current(|filter| filter.spec().clone())
            .unwrap_or_default()
    }

    /// Puts levels in force.
    ///
    /// # Errors
    /// Logging has ended.
    pub fn set(&self, spec: LogSpec) -> anyhow::Result<()> {
        Ok(self.0.reload(Filter::new(spec))?)
    }
}

/// Starts logging to stderr. The levels are those of `FABRIC_LOGGING_SPEC`
/// (`info`, `gossip,ledger=debug:warn`) or `default`.
///
/// # Errors
/// A spec that does not parse, or logging that was started before.
pub fn init(default: &str) -> anyhow::Result<LogControl> {
    let spec = std::env::var("FABRIC_LOGGING_SPEC").unwrap_or_else(|_| default.to_owned());
    let spec = spec
        .parse()
        .with_context(|| format!("FABRIC_LOGGING_SPEC: `{spec}` is not a logging spec"))?;
    start(spec)
}

/// Starts logging to stderr at a level, whatever the variable says.
///
/// # Errors
/// A level that there is not, or logging that was started before.
pub fn init_at(level: &str) -> anyhow::Result<LogControl> {
    start(level.parse()?)
}

fn start(spec: LogSpec) -> anyhow::Result<LogControl> {
    let (filter, control) = LogControl::new(spec);
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(terminal),
        )
        .try_init()
        .context("logging was already started")?;
    Ok(control)
}

/// Buckets of histograms, in seconds: those that Fabric's exporter uses where a metric names none
/// (Prometheus's own), and three finer ones below. Dashboards that ask for Fabric's find them all.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Buckets that Fabric names itself, and the metrics it names them for.
///
/// fabric: common/ledger/blkstorage/metrics.go, core/ledger/kvledger/metrics.go
const LEDGER_BUCKETS: [f64; 7] = [0.005, 0.01, 0.015, 0.05, 0.1, 1.0, 10.0];
const LEDGER_HISTOGRAMS: [&str; 4] = [
    "ledger_block_processing_time",
    "ledger_blockstorage_and_pvtdata_commit_time",
    "ledger_blockstorage_commit_time",
    "ledger_statedb_commit_time",
];

/// The exporter of a node. Histograms get buckets, or Prometheus would see summaries, which cannot
/// be added up over nodes.
///
/// # Errors
/// None today: the lists of buckets are not empty.
pub fn exporter() -> anyhow::Result<PrometheusBuilder> {
    let every = Matcher::Suffix(String::new());
    let mut builder = PrometheusBuilder::new().set_buckets_for_metric(every, &BUCKETS)?;
    for name in LEDGER_HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), &LEDGER_BUCKETS)?;
    }
    Ok(builder)
}

/// Installs the process-wide metrics recorder, and says what the metrics mean.
///
/// # Errors
/// A recorder that was installed before.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = exporter()?
        .install_recorder()
        .context("cannot install the metrics recorder")?;
    describe_metrics();
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_the_buckets_that_fabric_gives_them() {
        let recorder = exporter().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_metrics();
            metrics::histogram!("ledger_blockstorage_commit_time").record(0.012);
            metrics::histogram!("broadcast_enqueue_duration").record(0.012);
        });
        let text = recorder.handle().render();
        let buckets = |name: &str| -> Vec<String> {
            let start = format!("{name}_bucket{{le=\"");
            text.lines()
                .filter_map(|line| line.strip_prefix(&start)?.split('"').next())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(
            buckets("ledger_blockstorage_commit_time"),
            ["0.005", "0.01", "0.015", "0.05", "0.1", "1", "10", "+Inf"]
        );
        let default = buckets("broadcast_enqueue_duration");
        for fabrics in [
            "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
        ] {
            assert!(default.iter().any(|bucket| bucket == fabrics), "{fabrics}");
        }
        let help =
            "# HELP broadcast_enqueue_duration The time to enqueue a transaction in seconds.";
        assert!(text.contains(help), "{text}");
    }
}
