"""Who a visitor was: clicks without a customer id, held until somebody says whose they are."""
