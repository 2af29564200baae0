package wire

// CursorHeader is the header of the answer to GET /v1/events with the cursor that it goes on from. Who asks for the events from
// now on and loses the connection before the first one goes on from there.
const CursorHeader = "Sandpool-Cursor"

// AfterNow as the cursor in GET /v1/events stands for the newest event: none that happened before is sent.
const AfterNow = "now"
