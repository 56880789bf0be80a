//! Logs and metrics of a node.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// Changes the log filter of a running node (`PUT /logspec`).
pub type LogFilter = reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// Starts logging to stderr. The filter is `FABRIC_LOGGING_SPEC` in Fabric's form
/// (`info`, `gossip,ledger=debug:warn`) or `default`.
///
/// # Errors
/// A filter that does not parse, or logging that was started before.
pub fn init(default: &str) -> anyhow::Result<LogFilter> {
    let spec = std::env::var("FABRIC_LOGGING_SPEC").unwrap_or_else(|_| default.to_owned());
    let filter = parse_filter(&spec)
        .with_context(|| format!("FABRIC_LOGGING_SPEC: `{spec}` is not a logging spec"))?;
    let (filter, handle) = reload::Layer::new(filter);
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
    Ok(handle)
}

/// Reads Fabric's logging spec: `[<logger>[,<logger>...]=]<level>[:...]`, where a logger is a crate
/// name with or without `consilium_`.
///
/// # Errors
/// An unknown level or an empty field.
pub fn parse_filter(spec: &str) -> anyhow::Result<EnvFilter> {
    let mut directives = Vec::new();
    for field in spec.split(':').filter(|field| !field.trim().is_empty()) {
        match field.split_once('=') {
            None => directives.push(level(field)?.to_owned()),
            Some((loggers, name)) => {
                let level = level(name)?;
                for logger in loggers.split(',') {
                    let logger = logger.trim().replace(['.', '-'], "_");
                    anyhow::ensure!(!logger.is_empty(), "empty logger name in `{field}`");
                    directives.push(format!("{logger}={level}"));
                    directives.push(format!("consilium_{logger}={level}"));
                }
            }
        }
    }
    if directives.is_empty() {
        directives.push("info".into());
    }
    Ok(EnvFilter::try_new(directives.join(","))?)
}

fn level(name: &str) -> anyhow::Result<&'static str> {
    Ok(match name.trim().to_ascii_lowercase().as_str() {
        "debug" => "debug",
        "trace" => "trace",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "fatal" | "panic" | "dpanic" => "error",
        other => {
            anyhow::bail!("unknown level `{other}`: expected debug, info, warn, error or fatal")
        }
    })
}

/// Installs the process-wide metrics recorder. Histograms get buckets, or Prometheus would see
/// summaries, which cannot be added up over nodes.
///
/// # Errors
/// A recorder that was installed before.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let buckets = [
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(String::new()), &buckets)?
        .install_recorder()
        .context("cannot install the metrics recorder")
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn a_logging_spec_in_fabrics_form_is_read() {
        for spec in [
            "info",
            "DEBUG",
            "gossip,ledger=debug:warn",
            "",
            "peer=error",
        ] {
            assert!(parse_filter(spec).is_ok(), "{spec}");
        }
        for spec in ["loud", "ledger=loud", "=debug"] {
            assert!(parse_filter(spec).is_err(), "{spec}");
        }
    }
}
