//! How a response's body reaches the server: counted as bytes in flight, piece by piece.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::{self, Bytes},
};

use super::{
    gatekeeper::Gatekeeper,
    in_flight::{Reserved, Tenant},
};

/// Below, a body is not worth counting: the connections are bounded too.
const SMALL: usize = 16 << 10;
/// What is given to the server at a time, which copies it.
const PIECE: usize = 64 << 10;

/// Around the handlers, within compression: counts each body that is made, and gives it to the server piece by piece.
pub async fn deliver(
    gatekeeper: web::Data<Gatekeeper>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let size = match response.response().body().size() {
        BodySize::Sized(size) => usize::try_from(size).unwrap_or(usize::MAX),
        BodySize::None | BodySize::Stream => 0,
    };
    let tenant = response.request().extensions().get::<Tenant>().copied();
    let Some(tenant) = tenant.filter(|_| size > SMALL) else { return Ok(response) };
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(left) => match gatekeeper.limits.in_flight.reserve(tenant, size) {
            Ok(reserved) => BoxBody::new(Pieces { left, _reserved: reserved }),
            Err(problem) => return Ok(ServiceResponse::from_err(problem, request)),
        },
        // A file on its way is not in memory.
        Err(body) => body,
    };
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

/// A body that is made.
struct Pieces {
    left: Bytes,
    _reserved: Option<Reserved>,
}

impl MessageBody for Pieces {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let left = &mut self.get_mut().left;
        let piece = left.split_to(left.len().min(PIECE));
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_body_comes_piece_by_piece_and_whole() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let body = Pieces { left: bytes.clone().into(), _reserved: None };
        assert_eq!(body.size(), BodySize::Sized(200_000));
        assert_eq!(actix_web::body::to_bytes(body).await.unwrap(), bytes);
    }
}
