// Package refresh keeps the snapshot of one environment fresh, whole and cheap.
//
// # Pages
//
// A page is the unit of progress. A list (list.go) consists of pieces, one for each
// page, each with the cursor that requests it again. There are two lists: the WAITING
// tokens, and the tokens of all statuses. A page that was fetched is never lost: a walk
// that stops continues where it was, in this refresh or a later one. Any piece can be
// requested at any time, and several at once.
//
// # Tasks
//
// A task (tasks.go) says which page it wants next; it does no I/O. What a page proves
// is in take.go. The scheduler (scheduler.go) sends the requests, shares them out by
// weight, and handles failures. The share that one task does not use goes to the others,
// so none can starve another. The limiter delays requests.
//
//   - newest lists the top of the list, other places where new tokens appear, and the
//     pieces in which a token may still appear. N new tokens take N/100 requests.
//   - waiting lists the W WAITING tokens with W/100 requests. If they do not fit into an
//     interval, it lists the top and the tokens whose timeout has come in each refresh,
//     and the others in turn. Snapshot.At is the time of the least recent listing.
//   - outcomes looks up tokens that have left WAITING: it requests their piece, or, if
//     there is none, the tokens created up to then. If most tokens wait, it first
//     requests a page of finished ones. This takes one page for each token at worst; a
//     page settles every token on it.
//   - history lists the tokens from before the first listing. It is split at places
//     found by createdAt, so that several parts are listed in parallel.
//   - verify lists each piece again before it is a verify interval old, whichever task
//     listed it last.
//   - probe occasionally requests a short time range by createdAt. All of its tokens
//     should be known.
//
// A refresh ends when nothing is left to do, or when the next one is due. Work that is
// left continues in the next one.
//
// # What a page proves
//
// A page proves that its tokens exist with these statuses. A token finishes once and for
// good, so of two rows that differ the finished one is newer. A page also proves that no
// other token is between its first and its last, or down to the end of the list if it
// has no cursor. A token that is missing there is looked up; it is gone if two requests
// for its place, a lag apart, do not show it either. If more tokens than usual are
// missing, or those at the end, a second query has to agree, and some of the tokens have to
// be found in another status, or nowhere. A second query has to agree, too, if the list
// ends where more tokens may follow. Empty pages count only if the top then shows tokens.
// Package index says what absence means. While tokens that may be WAITING are not listed
// yet, no snapshot is made.
//
// # What is assumed of the service, and how it is watched
//
//   - Lists are in descending order of id. A page that is not is requested again. If
//     the second one is not in order either, listings are walked one page after another,
//     and tokens are looked up by createdAt, until a whole walk was in order again
//     (unordered.go).
//   - A cursor belongs to one place. A cursor of two places is refused; one that leads
//     to another place is forgotten. If this happens often, all cursors are forgotten.
//   - New tokens appear at the top. The probe finds those that do not, or they are seen
//     WAITING; their place is then watched as the top is.
//   - The lag of replicas and the difference of hosts' clocks are at most the constant
//     lag together. If tokens appear later, refreshes wait longer for them. If a page
//     shows a token as WAITING that finished long ago, or a top without the token that
//     was there, a replica is further behind: then absence proves nothing for a while.
//   - Pages have the requested size. Only the cost depends on it: a page that should end
//     at a boundary is repeated once.
//   - Nothing is deleted. A list of all tokens that is empty, but was not before, is an
//     error until it was empty for two verify intervals. A finished token that two whole
//     turns of the verify walk did not show is dropped. It is remembered, so that it does
//     not count twice if it comes back.
//
// An assumption that does not hold is logged once and shown in
// triggerdev_waitpoint_assumption_broken.
//
// # Clocks
//
// The service's time comes from the Date of its answers. One that is far ahead of the others
// of late is not believed: it comes from a gateway with another clock.
//
// Durations within this process, such as the interval and the lag, use the monotonic
// reading of time.Now. It stops while the machine is suspended; a refresh is then late by
// at most an interval, and the age of a snapshot uses the wall clock too. Comparisons
// with the times of tokens use the service's clock or the wall clock. If the wall clock is
// set ahead, the window moves on. If it is set back by more than the lag, the history is
// listed again; counters keep their values.
package refresh
