package events

// ParseRecord lets the fuzz target of another package reach parseRecord.
func ParseRecord(channel Channel, payload string) (*Record, bool) {
	return parseRecord(channel, payload)
}
