//! Extracts the parameters of a request. An invalid one is answered with [`ApiError`].

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use relay_control::Filter;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The filter in the query of a request.
pub(super) struct FilterQuery(pub(super) Filter);

impl<S: Sync> FromRequestParts<S> for FilterQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(Filter::from_query(query)?))
    }
}

/// The JSON body of a request.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use relay_control::{Problem, Scope};

    use super::*;

    async fn problem(answer: Response) -> (StatusCode, String) {
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 1000).await.expect("a body");
        let problem: Problem = serde_json::from_slice(&body).expect("a problem");
        (head.status, problem.error)
    }

    #[tokio::test]
    async fn a_query_with_an_unknown_condition_is_refused() {
        let request = Request::builder().uri("/v1/queue?domain=a.test&size=3");
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let refused = FilterQuery::from_request_parts(&mut parts, &()).await;
        let reason = refused.err().expect("no such condition");
        let (code, reason) = problem(reason.into_response()).await;
        assert_eq!(code, StatusCode::BAD_REQUEST);
        assert!(reason.contains("unknown field `size`"), "{reason}");
    }

    #[tokio::test]
    async fn a_body_without_a_scope_is_refused() {
        for (body, expected) in [
            ("", "EOF"),
            ("{}", "expected value"),
            (r#"{"matching":{}}"#, "which messages? "),
            (r#"{"matching":{"size":3}}"#, "unknown field `size`"),
            (r#"{"domain":"a.test"}"#, "unknown variant `domain`"),
        ] {
            let request = Request::builder()
                .method("POST")
                .header("content-type", "application/json")
                .body(Body::from(body))
                .expect("a request");
            let refused = JsonBody::<Scope>::from_request(request, &()).await;
            let reason = refused.err().expect("no scope");
            let (code, reason) = problem(reason.into_response()).await;
            assert_eq!(code, StatusCode::BAD_REQUEST, "{body}");
            assert!(reason.contains(expected), "{body}: {reason}");
        }
    }
}
