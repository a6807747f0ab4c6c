"""The web page: `jobs` restores them one by one, `server` speaks HTTP, `page/` is what the browser shows."""
