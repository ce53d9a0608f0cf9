// Package refresh keeps one environment's picture fresh, whole and cheap.
//
// # The plan
//
// A refresh makes these listings, in this order:
//
//  1. WAITING, whole: W/100 requests. What waited and is not listed has left
//     WAITING, and leaves the gauge at once.
//  2. Newest, without a filter, from the top down to ground that is known and
//     older than the lag: N/100 requests for N new tokens. It shows tokens that
//     were created and finished since the last refresh.
//  3. Outcomes of what left WAITING, a page each at the worst, from the bookmark
//     right above the token; a page settles every token it shows.
//  4. A few pages of the walk through the whole window, so that a full turn fits
//     the verify interval. It puts right whatever the others missed. The first
//     turn is the loading of the history: several walkers, at full speed,
//     between refreshes.
//
// # Why it is whole
//
// A page proves what it shows. Only a listing that was walked to its end proves
// that something is absent, and only index.Listing.Close may say so. WAITING to
// finished happens once and for ever, so of two rows that differ the finished one
// is the later. A token is taken to have left WAITING if a whole listing lacks
// it and it had been known for longer than the lag: then every replica had it.
// A younger one is looked up first. A token that was taken to have left and is
// still listed as WAITING after the lag never left; it is put back.
//
// The order WAITING, newest makes created-and-finished tokens visible: a token
// is in the first listing if it waited then, and in the second if it came or
// finished since.
//
// # Why it is cheap
//
// The service finds a page by cursor in 0.1 ms at any depth, but reads the whole
// history for a page by createdAt. So every page listed without a filter leaves
// a bookmark, the cursor behind it. They stand at most 100 tokens apart, so a
// page from the bookmark above a token shows it. Filters on createdAt are left
// for what no bookmark reaches: tokens older than the window.
//
// # Clocks
//
// What is a span of this process, such as an interval or the lag, goes by the
// monotonic clock, which every time from time.Now has. It stands while the machine is
// suspended, so a refresh is late by an interval at most, and a picture's age goes
// by the wall clock too. What is compared with times of tokens goes by the wall
// clock. If that is set ahead the window moves on; if it is set back the window
// does not move back, and past the lag the history is listed again.
//
// # What is assumed of the service
//
//   - The list is in descending order of id, byte by byte. If a page shows
//     otherwise, bookmarks and the splitting of the history are given up:
//     outcomes are looked up by createdAt and the history is walked in one go.
//     Nothing is counted wrongly.
//   - Ids are nearly in order of creation. One that is not is seen when it
//     waits, and otherwise by the walk.
//   - Replicas lag, and hosts' clocks differ, by less than the constant lag. If
//     they exceed it, a token may be taken to have left too early; the next
//     listing puts it back, and the walk corrects the rest.
//   - Nothing is deleted. What is deleted all the same is dropped at the end of
//     the walk's turn.
package refresh
