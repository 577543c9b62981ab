// Package menucache makes users' menus and keeps them: menus that are data, built by role and language, cached in the
// process and in Redis, and ready to send to Telegram.
//
// Guarantees:
//
//   - A menu is never returned for a role or language it is not for, whoever wrote it: role, language and the definitions
//     that it was built from are part of what is cached, and an option that the definitions keep from a role is not shown
//     to it.
//   - After a menu was set or cleared, or menus were invalidated, the old ones are not returned, at once through the same
//     Menus, and after 100 ms through any other; a change by another program is seen within 1 s. See package cache, whose
//     guarantees are those of the menus.
//   - While Redis is away, menus are returned all the same: those in memory, or built.
//   - A write to the menu source that was accepted is delivered at least once, as long as Redis keeps its data.
//
// Limits: one menu of a type per user is kept, for the role and language that were asked for last. Types that the
// definitions no longer have are out of reach until they are back: clearing a user leaves their menus to expire. While Redis is away,
// nothing can be set or cleared, a menu that was set and is not in memory is not returned, and what other hubs change is
// not seen. A menu source that fails is not waited for: the menu is built then, and not kept.
//
// Everything is safe for concurrent use.
package menucache
