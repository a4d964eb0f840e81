// Package registry reaches image registries: which hosts serve an image
// (hosts.toml), who may ask them (credentials), and how patient davit is with
// them. The protocol itself is containerd's resolver's.
//
// # Decisions
//
//   - The layout of hosts.toml and its meaning are containerd's, so that one
//     directory serves both. A file that does not parse fails the pull and says
//     so; containerd goes on as if it was not there, and asks the origin.
//   - Loopback registries are spoken to over plain HTTP where they do not speak
//     TLS, as containerd does; all others only where hosts.toml says http.
//   - Credentials go to the host that the reference names and to the token
//     server that it appoints, not to its mirrors. Redirects are followed here,
//     below net/http's client, which would hand on what the first request
//     carried to another port of the same host and put signed addresses into
//     its errors. To another origin go only the headers that a download needs,
//     and a request with a body goes nowhere but where it was sent.
//   - 429 and 5xx are tried again by the last host that could serve the request,
//     Tries times in all; Retry-After is obeyed up to maxPause. A mirror that
//     answers so is passed over at once.
//   - A pull in which nothing arrives while it waits for a registry is
//     cancelled (Watch). Time that is not spent waiting for a registry (disk,
//     unpacking, another pull that fetches the same layer) does not count.
//   - What a registry says is bounded: documents, error texts, tokens.
//
// Out of scope: what an image consists of, where it is stored, pushing.
package registry
