// Package refresh keeps the snapshot of one environment fresh, whole and cheap.
//
// # Pages
//
// A page is the unit of progress. A list (list.go) is made of pieces, one for each
// page, with the cursor that asks for it again. There are two: the WAITING tokens,
// and the tokens of all statuses. A page that was fetched is never lost: a walk
// that stops goes on where it was, in this refresh or a later one, and any piece
// can be asked for at any time, several at once.
//
// # Tasks
//
// A task (tasks.go) says which page it wants next, and does no I/O. What a page
// proves is in take.go. The scheduler (scheduler.go) sends the requests, shares them
// out by weight, and accounts for failures. What a task does not use goes to the
// others, so none can starve another. The limiter holds requests back.
//
//   - newest: the top of the list, other places where new tokens appear, and the
//     pieces in which a token may yet appear. N/100 requests for N new tokens.
//   - waiting: every WAITING token, W/100 requests. Where that does not fit into an
//     interval, the top and what has come to its timeout in each refresh, the rest
//     in turn; Snapshot.At is when the least recently listed token was listed.
//   - outcomes: the piece that holds a token which has left WAITING, or where there is
//     none what was created up to then; where most tokens wait, first a page of finished
//     ones. A page each at the worst, and a page settles every token it shows.
//   - history: what was there before the first listing. It is split at places found
//     by createdAt, so that several parts are listed side by side.
//   - verify: each piece again before it is a verify interval old, whichever task
//     listed it last.
//   - probe: now and then a short time by createdAt, all of whose tokens should be
//     known.
//
// A refresh ends when nothing is left to do, or when the next one is due. What is
// left then goes on.
//
// # What a page proves
//
// Its tokens exist with these statuses. WAITING to finished happens once and for
// ever, so of two rows that differ the finished one is the later. And no other
// token is between its first and last, or down to the end of the list if it has no
// cursor: what should be there and is not is looked up, and is gone if two looks at
// its place, a lag apart, lack it too. A page that lacks more than usual is not believed
// before a second query agrees. See package index for what absence then means.
//
// # What is assumed of the service, and how it is watched
//
//   - Lists are in descending order of id. Each page is checked, and asked for again
//     if it is not. If that does not help, listings are walked one page after another,
//     by createdAt where a place is needed, until a whole walk was in order again
//     (unordered.go).
//   - A cursor asks for one place. One that two places have is refused, one that leads
//     elsewhere is forgotten. If more and more do, all are.
//   - New tokens appear at the top. Others are found by the probe, or when they are
//     seen waiting, and the place is then watched as the top is.
//   - Replicas are behind, and hosts' clocks differ, by no more than the constant lag
//     together. If tokens appear later, refreshes wait longer for them. A page that
//     shows as WAITING what finished long ago, or a top without what was on it, proves
//     that a replica is further behind: no absence counts for a while.
//   - Pages have the size that was asked for. Nothing depends on it but cost.
//   - Nothing is deleted. What is gone from two whole turns of the verify walk is
//     dropped, and remembered, so that it does not count twice if it comes back.
//
// What does not hold is logged once and shown as
// triggerdev_waitpoint_assumption_broken.
//
// # Clocks
//
// What is a span of this process, such as an interval or the lag, goes by the
// monotonic clock, which every time from time.Now has. It stands while the machine
// is suspended, so a refresh is late by an interval at most, and a snapshot's age
// goes by the wall clock too. What is compared with times of tokens goes by the
// service's clock, or by the wall clock. If that is set ahead the window moves on;
// if it is set back by more than the lag the history is listed again, and what was
// counted stays counted.
package refresh
