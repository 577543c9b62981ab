// Package tempdata keeps temporary data in Redis: values under namespace and key, forms of named steps, the state of
// conversations and their histories, and leases. Everything expires.
package tempdata
