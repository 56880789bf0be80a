//! Which events are logged, and how many there were.

use metrics::counter;
use tracing::{Event, Metadata, Subscriber, subscriber::Interest};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
};

use super::spec::LogSpec;

/// The filter of all logs; it counts events as Fabric does.
///
/// An event is *checked* when some logger is on for its level, and *written* when its own logger
/// is. fabric: fabric-lib-go common/flogging/core.go Check, Write
pub struct Filter {
    spec: LogSpec,
    targets: Targets,
    /// The most that any logger logs.
    most: LevelFilter,
}

impl Filter {
    /// The filter that a spec describes.
    pub fn new(spec: LogSpec) -> Self {
        let mut targets = Targets::new().with_default(spec.default_level());
        let mut most = spec.default_level();
        for (logger, level) in spec.loggers() {
            let target = logger
                .trim_end_matches('.')
                .replace('.', "::")
                .replace('-', "_");
            most = most.max(level);
            targets = targets
                .with_target(format!("consilium_{target}"), level)
                .with_target(target, level);
        }
        Self {
            spec,
            targets,
            most,
        }
    }

    /// The spec that the filter follows.
    pub fn spec(&self) -> &LogSpec {
        &self.spec
    }

    fn logs(&self, metadata: &Metadata<'_>) -> bool {
        self.targets
            .would_enable(metadata.target(), metadata.level())
    }
}

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.logs(metadata) {
            Interest::always()
        } else if metadata.is_event() && *metadata.level() <= self.most {
            // Asked every time, to be counted.
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let logs = self.logs(metadata);
        if !logs && metadata.is_event() && *metadata.level() <= self.most {
            checked(metadata);
        }
        logs
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        checked(event.metadata());
        counter!("logging_entries_written", "level" => level(event.metadata())).increment(1);
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }
}

fn checked(metadata: &Metadata<'_>) {
    counter!("logging_entries_checked", "level" => level(metadata)).increment(1);
}

/// A level as Fabric's label names it.
fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "payload",
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    use crate::telemetry::LogControl;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_spec_decides_what_is_logged_and_events_are_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let (filter, control) = LogControl::new("orderer.broadcast=debug:warn".parse().unwrap());
        let written = Written::default();
        let log = written.clone();
        let subscriber = tracing_subscriber::registry().with(filter).with(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(move || log.clone()),
        );
        let speak = || {
            tracing::debug!(target: "consilium_orderer::broadcast", "deep inside");
            tracing::debug!(target: "consilium_orderer::chain", "somewhere else");
            tracing::info!(target: "consilium_orderer", "for information");
            tracing::warn!(target: "h2::proto", "of a library");
            tracing::trace!(target: "consilium_orderer::broadcast", "too much");
        };
        metrics::with_local_recorder(&recorder, || {
            tracing::subscriber::with_default(subscriber, || {
                speak();
                control.set("error".parse().unwrap()).unwrap();
                assert_eq!(control.spec().to_string(), "error");
                speak();
            });
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.rsplit(": ").next())
            .collect();
        assert_eq!(lines, ["deep inside", "of a library"], "{text}");

        let shown = recorder.handle().render();
        for line in [
            r#"logging_entries_checked{level="debug"} 2"#,
            r#"logging_entries_checked{level="info"} 1"#,
            r#"logging_entries_checked{level="warn"} 1"#,
            r#"logging_entries_written{level="debug"} 1"#,
            r#"logging_entries_written{level="warn"} 1"#,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        assert!(!shown.contains("payload"), "{shown}");
    }
}
