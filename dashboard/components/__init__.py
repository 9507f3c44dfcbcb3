"""Parts of the page: plain functions and records that are tested without a browser, and thin Streamlit around them."""
