// Package wire holds what the local API's server and its clients both speak:
// the frames of an exec session and the JSON shapes that are davit's own. All
// else on the API has Kubernetes' shapes (PodList, WatchEvent, Status).
//
// # Exec sessions
//
// The client sends POST .../exec with "Connection: Upgrade" and "Upgrade:
// davit-exec/1"; the server answers 101 and from then on both sides send
// frames, or it answers with an error status and the connection stays HTTP.
//
//	+------+----------------+---------------------+
//	| kind | length, 4 bytes| payload             |
//	| byte | big endian     | at most MaxPayload  |
//	+------+----------------+---------------------+
//
//	kind        sent by  payload
//	Stdin       client   bytes
//	CloseStdin  client   none; the process reads end of file, output goes on
//	Resize      client   width, height: 2 bytes each, big endian, in cells
//	Window      server   4 bytes, big endian: so many bytes of stdin were read
//	Stdout      server   bytes
//	Stderr      server   bytes; never with a terminal
//	Exit        server   4 bytes, big endian, signed: the exit code; the last frame
//	Error       server   text: there is no exit code; the last frame
//
// At most StdinWindow bytes of stdin may be under way that no Window frame has
// given back, so the server can hold what the process has not read yet, always
// goes on reading, and so sees a resize or the end of the connection at once.
// The end of the connection before the last frame kills the process. Unknown
// kinds and longer payloads are errors: a new meaning takes a new protocol name.
//
// # Forwarded connections
//
// POST .../portforward?port=N with "Upgrade: davit-portforward/1" is answered
// with 101 once the server is connected to the port; each connection is a request
// of its own. Both sides send the same frames:
//
//	Data    bytes
//	End     none; no more Data comes, the other direction goes on
//	Window  4 bytes, big endian: so many bytes of Data were passed on
//	Error   text: the connection broke; the last frame
//
// At most StdinWindow bytes of Data may be under way in each direction, so both
// sides always read: neither direction holds the other up, and a side that dies
// is noticed at once. After both Ends the connection is closed. Frames instead of
// the bare bytes are for that, and for telling a reset from an end: on a unix
// socket the two look alike.
package wire
