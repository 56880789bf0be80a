//! Metrics of a gRPC server, as an exporter shows them.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tonic::Code;
use tonic_health::pb::HealthCheckResponse;
use tonic_prost::ProstCodec;

use super::*;
use crate::grpc_server;
use crate::{CallKind, GrpcMetrics, describe_metrics, incoming};

const CHECK: &str = r#"service="grpc_health_v1_Health",method="Check""#;
const WATCH: &str = r#"service="grpc_health_v1_Health",method="Watch""#;

/// Waits until all lines are shown.
async fn shows(metrics: &PrometheusHandle, lines: &[String]) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = metrics.render();
        let missing = lines
            .iter()
            .find(|line| !text.lines().any(|shown| shown == **line));
        let Some(missing) = missing else { return };
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "{missing} is not in\n{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn calls_messages_and_connections_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // All tasks of this test run on this thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    describe_metrics();

    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("known", tonic_health::ServingStatus::Serving)
        .await;
    let listener = listen("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let layer = GrpcMetrics::new([
        ("/grpc.health.v1.Health/Check".to_owned(), CallKind::Unary),
        ("/grpc.health.v1.Health/Watch".to_owned(), CallKind::Stream),
    ]);
    tokio::spawn(
        grpc_server()
            .layer(layer)
            .add_service(service)
            .serve_with_incoming(incoming(listener, None)),
    );

    let channel = connect(&endpoint, None, PATIENCE).await.unwrap();
    let mut client = HealthClient::new(channel.clone());
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    client.check(ask("known")).await.unwrap();
    client.check(ask("known")).await.unwrap();
    let unknown = client.check(ask("unknown")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watched = client.watch(ask("known")).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    let line = |name: &str, labels: &str, value: u64| format!("{name}{{{labels}}} {value}");
    shows(
        &metrics,
        &[
            "grpc_comm_conn_opened 1".to_owned(),
            line("grpc_server_unary_requests_received", CHECK, 3),
            line(
                "grpc_server_unary_requests_completed",
                &format!(r#"{CHECK},code="OK""#),
                2,
            ),
            line(
                "grpc_server_unary_requests_completed",
                &format!(r#"{CHECK},code="NotFound""#),
                1,
            ),
            line(
                "grpc_server_unary_request_duration_count",
                &format!(r#"{CHECK},code="OK""#),
                2,
            ),
            line("grpc_server_stream_requests_received", WATCH, 1),
            line("grpc_server_stream_messages_received", WATCH, 1),
            line("grpc_server_stream_messages_sent", WATCH, 1),
            "# HELP grpc_server_unary_requests_received The number of unary requests received."
                .to_owned(),
            "# TYPE grpc_server_unary_requests_received counter".to_owned(),
        ],
    )
    .await;
    drop(watched);
    let cancelled = format!(r#"{WATCH},code="Canceled""#);
    shows(
        &metrics,
        &[line("grpc_server_stream_requests_completed", &cancelled, 1)],
    )
    .await;

    // Methods that were not named leave no trace, whether they exist or not.
    let mut elsewhere = tonic::client::Grpc::new(channel.clone());
    for path in ["/grpc.health.v1.Health/Invented", "/invented.Service/Call"] {
        elsewhere.ready().await.unwrap();
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let path = ::http::uri::PathAndQuery::from_static(path);
        let answer = elsewhere
            .unary(Request::new(ask("known")), path, codec)
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    }
    assert!(!metrics.render().contains("nvented"));

    drop((client, elsewhere, channel));
    shows(&metrics, &["grpc_comm_conn_closed 1".to_owned()]).await;
}
